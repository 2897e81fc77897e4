// A square to draw on with mouse, pen or finger. A moment after the last stroke the picture (PNG) goes to `picture`.
const SIZE = 280, PAUSE = 450; // pixels, milliseconds

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "drawing pad: draw one digit with mouse, pen or finger; Escape clears it");
  canvas.style.cssText = `width:${SIZE}px;height:${SIZE}px;touch-action:none;cursor:crosshair;background:#fff;` +
    "border:1px solid var(--jp-border-color1, #999);border-radius:6px";
  const pen = canvas.getContext("2d");
  let drawing = false, timer;

  function clear() {
    clearTimeout(timer);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, SIZE, SIZE);
  }
  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * SIZE / box.width, (event.clientY - box.top) * SIZE / box.height];
  }
  function send() {
    canvas.toBlob(async (blob) => {
      model.set("picture", new DataView(await blob.arrayBuffer()));
      model.save_changes();
    }, "image/png");
  }
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    clearTimeout(timer);
    drawing = true;
    pen.beginPath();
    pen.moveTo(...place(event));
    pen.lineTo(...place(event));
    pen.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    for (const step of event.getCoalescedEvents?.() ?? [event]) pen.lineTo(...place(step));
    pen.stroke();
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => {
      if (!drawing) return;
      drawing = false;
      timer = setTimeout(send, PAUSE);
    });
  canvas.addEventListener("keydown", (event) => event.key === "Escape" && clear());
  model.on("change:cleared", clear);
  clear();
  pen.lineWidth = 20;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = "#000";
  el.append(canvas);
}

export default { render };
