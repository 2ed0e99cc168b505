// Every page works without this script.
'use strict';
for (const button of document.querySelectorAll('[data-show]')) {
  const input = document.getElementById(button.dataset.show);
  button.hidden = false;
  button.addEventListener('click', () => {
    const shown = input.type === 'password';
    input.type = shown ? 'text' : 'password';
    button.setAttribute('aria-pressed', shown);
  });
}
for (const button of document.querySelectorAll('[data-copy]')) {
  const text = document.getElementById(button.dataset.copy);
  button.hidden = !navigator.clipboard;
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(text.textContent.trim());
    button.textContent = button.dataset.done;
  });
}
for (const time of document.querySelectorAll('time[datetime]')) {
  const style = { dateStyle: 'medium', timeStyle: 'short' };
  time.textContent = new Intl.DateTimeFormat(document.documentElement.lang, style).format(new Date(time.dateTime));
}
// The links in emails carry the email address and the code in the fragment, which no server receives.
if (document.querySelector('[data-fragment]') && location.hash.length > 1) {
  const values = new URLSearchParams(location.hash.slice(1));
  for (const name of ['email', 'code']) {
    const input = document.querySelector(`input[name=${name}]`);
    if (input && values.has(name)) input.value = values.get(name);
  }
  history.replaceState(null, '', location.pathname + location.search);
}
for (const form of document.forms) {
  form.addEventListener('submit', () => {
    for (const button of form.querySelectorAll('button:not([type=button])')) {
      setTimeout(() => { button.disabled = true; }, 0);
    }
  });
}
// A page from the history of the browser can be used again.
addEventListener('pageshow', () => {
  for (const button of document.querySelectorAll('button:disabled')) button.disabled = false;
});
