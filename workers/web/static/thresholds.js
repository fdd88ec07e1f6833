// Sliders, numbers and the preview follow each other. Without this, the form's button asks for the page anew.
const tried = document.querySelector("#try");
const saved = document.querySelector("#save");
const preview = document.querySelector("#preview");
const chosen = document.querySelector("#chosen");
const PAUSE = 150; // ms without a change before the server is asked

const field = (name) => tried.elements[name];
const sliders = [...tried.querySelectorAll("input[type=range]")];
let timer;
let asked;

for (const slider of sliders) {
  slider.hidden = false;
  slider.addEventListener("input", () => {
    field(slider.dataset.for).value = slider.value;
    changed(slider.dataset.for);
  });
}
tried.addEventListener("input", (event) => {
  if (event.target.type === "number") changed(event.target.name);
});

function changed(name) {
  keepInOrder(name);
  for (const slider of sliders) slider.value = field(slider.dataset.for).value;
  saved.querySelector("button").disabled = true; // nothing is saved that was not looked at
  clearTimeout(timer);
  timer = setTimeout(show, PAUSE);
}

// "unsure" begins where "not camera" ends: one pushes the other along.
function keepInOrder(name) {
  const [lower, upper] = [field("not_camera"), field("unsure")];
  if (Number(lower.value) <= Number(upper.value)) return;
  if (name === "unsure") lower.value = upper.value;
  else upper.value = lower.value;
}

async function show() {
  if (!tried.checkValidity()) return;
  asked?.abort();
  asked = new AbortController();
  const query = new URLSearchParams(new FormData(tried));
  try {
    const answer = await fetch(`${tried.dataset.preview}?${query}`, { signal: asked.signal, headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(answer.statusText); // redirected: signed out meanwhile
    const part = new DOMParser().parseFromString(await answer.text(), "text/html");
    preview.replaceChildren(...part.body.childNodes);
  } catch (error) {
    if (error.name !== "AbortError") preview.textContent = "The server does not answer; load the page again.";
    return;
  }
  history.replaceState(null, "", `?${query}`);
  for (const name of ["not_camera", "unsure"]) saved.elements[name].value = field(name).value;
  chosen.textContent = ["not_camera", "unsure"].map((name) => `${Number(field(name).value).toFixed(1)} %`).join(" / ");
  saved.querySelector("button").disabled = false;
}
