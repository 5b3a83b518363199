// All that needs script; without it every page still works.
"use strict";

// The frame around what was recognised is in pixels of the published picture, whose size only the browser knows.
function drawMarks(picture) {
  const marks = document.getElementById(picture.dataset.marks);
  if (marks && picture.naturalWidth > 0) {
    marks.setAttribute("viewBox", `0 0 ${picture.naturalWidth} ${picture.naturalHeight}`);
    marks.removeAttribute("hidden");
  }
}

for (const picture of document.querySelectorAll("img[data-marks]")) {
  if (picture.complete) drawMarks(picture);
  picture.addEventListener("load", () => drawMarks(picture));
}

// A sign-in link carries the key behind the `#`, which browsers never send; here it leaves the address bar, too.
// The person presses the button: a link alone must not sign anybody in as somebody else.
function takeKeyFromLink() {
  const field = document.getElementById("api-key");
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!field || !key) return;
  field.value = key;
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("from-link").hidden = false;
  document.getElementById("go").focus();
}

takeKeyFromLink();
window.addEventListener("hashchange", takeKeyFromLink);
