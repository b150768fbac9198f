// The theme: automatic, light or dark. A script of its own, loaded before the first paint, so that a page which was set to
// dark does not flash in white. The choice is kept by the browser; without storage it holds until the page is left.
"use strict";
(() => {
  const CHOICES = ["automatic", "light", "dark"];
  const KEY = "db-theme";

  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const keep = (choice) => {
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // Storage is forbidden: the choice holds for this page.
    }
  };

  let choice = CHOICES.includes(stored()) ? stored() : CHOICES[0];
  const apply = () => {
    if (choice === CHOICES[0]) {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = choice;
    }
  };
  apply();

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.textContent = `Theme: ${choice}`;
    };
    button.addEventListener("click", () => {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      keep(choice);
      apply();
      show();
    });
    show();
  });
})();
