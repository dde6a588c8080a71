// What script adds to samljit's pages, each of which works without: copy buttons, times in the reader's zone, focus on errors.
"use strict";
(() => {
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

  // <time datetime="2026-11-22T09:00:00+00:00">2026-11-22 09:00:00 UTC</time>; data-samljit-time="date" leaves the hour out
  each(".samljit time[datetime]", (time) => {
    const at = new Date(time.dateTime);
    if (isNaN(at) || !/[Tt]/.test(time.dateTime)) return;
    const day = { year: "numeric", month: "short", day: "numeric" };
    const hour = { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" };
    const format = time.dataset.samljitTime === "date" ? day : { ...day, ...hour };
    time.title = time.textContent.trim();
    time.textContent = new Intl.DateTimeFormat(document.documentElement.lang || undefined, format).format(at);
  });

  // <button type="button" data-samljit-copy="#id" hidden>Copy <span data-samljit-done="Copied" role="status"></span></button>
  const select = (element) => {
    if (element.select) return element.select();
    getSelection().selectAllChildren(element);
  };
  each("[data-samljit-copy]", (button) => {
    const source = document.querySelector(button.dataset.samljitCopy);
    if (!source) return;
    button.hidden = false;
    const status = button.querySelector("[role=status]");
    const label = button.firstElementChild;
    const words = label.textContent;
    button.addEventListener("click", async () => {
      // the whole instant, not the reader's clock, is what the other side can look up
      const text = source.value ?? source.dataset.samljitText ?? source.innerText;
      let copied = true;
      try {
        await navigator.clipboard.writeText(text.trim());
      } catch {
        select(source);
        copied = document.execCommand("copy");  // plain http, where there is no clipboard; failing that, the text is selected
      }
      if (!copied) return;
      label.textContent = button.dataset.samljitDone;
      status.textContent = button.dataset.samljitDone;
      setTimeout(() => { label.textContent = words; status.textContent = ""; }, 2500);
    });
  });

  const errors = document.querySelector("[data-samljit-focus]");
  if (errors) errors.focus();
})();
