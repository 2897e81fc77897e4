"""The game in the plane (lesson 2) in a real JupyterLab: its controls are used as a student would,
and the modes are lost and come back."""

import re

from browser import test_browser
from browser.test_browser import all_ran, opened, run_all, serve

pytestmark = test_browser.pytestmark
browser, keep = test_browser.browser, test_browser.keep  # fixtures

PLAY, STARTED = ".widget-play button", "step 0:"


class Panel:
    """The controls of the game, on a page."""

    def __init__(self, page):
        self.page = page
        self.box = page.locator(".widget-vbox", has=page.locator("img.widget-image")).last
        self.box.scroll_into_view_if_needed()

    def told(self):
        return self.box.locator(".widget-html-content").last.inner_text()

    def press(self, name):
        self.box.get_by_role("button", name=re.compile(f"{name}$")).click()

    def play_or_pause(self):
        self.box.locator(PLAY).first.click()

    def set_gamma(self, key):
        """The slider of gamma, by a key: Home is 0, End is 10."""
        row = self.box.locator(".widget-hslider, .jupyter-widget-hslider", has_text="gamma")
        row.locator(".noUi-handle").press(key)

    def wait_for_modes(self, modes):
        """Until a picture has so many modes (as a regular expression)."""
        text = re.compile(rf"step \d[\d,]*: {modes} of 8 modes")
        found = self.box.locator(".widget-html-content", has_text=text)
        found.last.wait_for(timeout=180_000)


def test_modes_are_lost_with_one_loss_and_come_back_with_the_other(lab, browser, keep):
    folder, address = lab
    (folder / "lessons").mkdir()
    serve(folder, "lessons/2-flatland.ipynb", "seeds, steps, spiral_steps = 1, 40, 20")
    with opened(browser, f"{address}/lessons/2-flatland.ipynb?reset", keep) as page:
        run_all(page)
        all_ran(page)
        panel = Panel(page)
        assert panel.told().startswith(STARTED)
        panel.press("one step")
        page.wait_for_function("text => document.body.innerText.includes(text)", arg="step 1:")
        panel.play_or_pause()
        panel.wait_for_modes("[78]")
        panel.box.screenshot(path=keep / "flatland-covered.png")
        panel.press("non-saturating")
        panel.set_gamma("Home")
        panel.wait_for_modes("[0123]")
        panel.box.screenshot(path=keep / "flatland-lost.png")
        panel.press("relativistic")
        for _ in range(5):
            panel.set_gamma("ArrowRight")
        panel.wait_for_modes("[78]")
        panel.play_or_pause()
        page.screenshot(path=keep / "flatland-light.png")
        dark = "{theme: 'JupyterLab Dark'}"
        page.evaluate(f"() => window.jupyterapp.commands.execute('apputils:change-theme', {dark})")
        page.wait_for_timeout(2000)
        page.screenshot(path=keep / "flatland-dark.png")
        panel.press("start over")
        page.wait_for_function("text => document.body.innerText.includes(text)", arg=STARTED)
