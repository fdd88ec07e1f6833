// The image tools of the evidence card. The tools are checkboxes, and CSS does what they say; this adds keys, remembers
// preferences in this browser, and moves about the enlarged image.
const KEYS = { b: "blur", g: "gray", z: "zoom", h: "heat", f: "residual" };
const REMEMBERED = ["blur", "gray", "heat", "opacity"];

const stored = (name) => { try { return localStorage.getItem(`viewer.${name}`); } catch { return null; } };
const store = (name, value) => { try { localStorage.setItem(`viewer.${name}`, value); } catch { /* private window */ } };
const tool = (viewer, name) => viewer.querySelector(`input[name="${name}"]`);

function recall(viewer) {
  for (const name of REMEMBERED) {
    const input = tool(viewer, name), value = stored(name);
    if (!input || value === null) continue;
    if (input.type === "checkbox") input.checked = value === "true";
    else input.value = value;
  }
}

function setOpacity(viewer) {
  const slider = tool(viewer, "opacity"), heat = viewer.querySelector("img.heat");
  if (slider && heat) heat.style.opacity = slider.value / 100;
}

function changed(viewer, input) {
  if (REMEMBERED.includes(input.name)) store(input.name, input.type === "checkbox" ? input.checked : input.value);
  if (input.name === "opacity") setOpacity(viewer);
}

// Show 1:1 with this point (shares of width and height) in the middle; or fit again.
function zoom(viewer, x = 0.5, y = 0.5) {
  const input = tool(viewer, "zoom"), stage = viewer.querySelector(".stage");
  input.checked = !input.checked;
  if (!input.checked) return;
  stage.scrollLeft = x * stage.scrollWidth - stage.clientWidth / 2;
  stage.scrollTop = y * stage.scrollHeight - stage.clientHeight / 2;
}

function toggle(viewer, name) {
  const input = tool(viewer, name);
  if (!input) return false;
  if (name === "zoom") zoom(viewer);
  else { input.checked = !input.checked; changed(viewer, input); }
  return true;
}

export function attach(viewer) {
  if (viewer.dataset.attached || !viewer.querySelector(".stage")) return;
  viewer.dataset.attached = "yes";
  recall(viewer);
  setOpacity(viewer);
  viewer.addEventListener("input", (event) => changed(viewer, event.target));
  viewer.querySelector(".frame").addEventListener("click", (event) => {
    const view = viewer.querySelector(".view"), box = event.currentTarget.getBoundingClientRect();
    const scale = Math.min(box.width / view.naturalWidth, box.height / view.naturalHeight);
    const [x, y] = [(event.clientX - box.left) / view.naturalWidth, (event.clientY - box.top) / view.naturalHeight];
    zoom(viewer, x / scale, y / scale);
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches('textarea, select, input:not([type="checkbox"], [type="range"], [type="radio"])')) return;
  const viewer = document.querySelector("[data-viewer]"), name = KEYS[event.key];
  if (viewer && name && toggle(viewer, name)) event.preventDefault();
});

document.querySelectorAll("[data-viewer]").forEach(attach);
