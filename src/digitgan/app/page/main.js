// The page: its data, a picker and, where the networks for it are there, a pad.

import { createState } from "./controls.js";
import { openPage } from "./handwriting.js";
import { mountPad, PAD_STATE } from "./pad.js";
import { mountPicker, PICKER_STATE } from "./picker.js";

const page = JSON.parse(document.getElementById("digitgan-page").textContent);
const studio = openPage(page);
document.getElementById("about").textContent = page.about;
mountPicker(document.getElementById("picker"), createState({ ...PICKER_STATE }), studio);
if (studio.draws) {
  document.getElementById("yours").hidden = false;
  mountPad(document.getElementById("pad"), createState({ ...PAD_STATE }), studio);
}
