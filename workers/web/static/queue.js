// Keyboard and clock of the queue's pages. A key does what the element that shows it does; without this file every
// button still works.
import { lookAhead, sendBehind } from "./ahead.js";

const isField = (element) => element.matches('textarea, select, input:not([type="checkbox"], [type="range"])');

function press(element) {
  if (element.matches("select")) element.focus();
  else element.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return document.activeElement?.blur();
  if (event.repeat || isField(event.target)) return;
  if (event.key === "Enter" && event.target.matches("a, button, summary")) return;
  const reasons = document.querySelector("select[data-digits]");
  if (reasons && /^\d$/.test(event.key) && event.key < reasons.length) {
    reasons.selectedIndex = Number(event.key);
    return event.preventDefault();
  }
  const element = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!element) return;
  event.preventDefault();
  press(element);
});

// One press, one decision: a second one would meet the next item.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent || event.target.closest("[aria-busy]")) return event.preventDefault();
  event.target.dataset.sent = "yes";
  if (sendBehind(event.target, event.submitter)) event.preventDefault();
});
addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));

function tick(clock) {
  const left = Math.ceil((Date.parse(clock.dataset.until) - Date.now()) / 1000);
  const text = left > 0 ? `Yours for ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : clock.dataset.over;
  if (clock.textContent !== text) clock.textContent = text;
  clock.classList.toggle("warn", left <= 30);
}

const tickAll = () => document.querySelectorAll("[data-until]").forEach(tick);
function begin() {
  tickAll();
  lookAhead();
}

begin();
setInterval(tickAll, 500);
document.addEventListener("settled", begin);
