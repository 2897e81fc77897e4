// The page: its data, a picker and, where the networks for it are there, a pad.

import { createState } from "./controls.js";
import { openPage } from "./handwriting.js";
import { mountPad, PAD_STATE } from "./pad.js";
import { mountPicker, PICKER_STATE } from "./picker.js";

const page = JSON.parse(document.getElementById("digitgan-page").textContent);
const studio = openPage(page);
const asked = studio.writes ? `Pick a ${studio.one} or type a ${studio.several}.`
  : studio.conditional ? "Pick what you like to see." : "Press for another one.";
document.getElementById("lead").textContent =
  `${asked} A generator writes it, here in this page: nothing is sent anywhere.`;
document.getElementById("about").textContent = page.about;
const digit = Math.min(PICKER_STATE.digit, studio.classes.length - 1);
mountPicker(document.getElementById("picker"), createState({ ...PICKER_STATE, digit }), studio);
if (studio.draws) {
  document.getElementById("yours").hidden = false;
  mountPad(document.getElementById("pad"), createState({ ...PAD_STATE }), studio);
}
