// Logging in: the token is typed in once, and a cookie that no script sees stands for it.

const field = document.getElementById("token");
const fail = document.getElementById("fail");
const enter = () => location.replace(`/${location.hash}`);

// A link from another site does not bring the cookie along, this question does.
fetch("/api/session")
  .then(({ ok }) => ok && enter())
  .catch(() => {});

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  fail.textContent = "";
  const token = field.value.trim();
  // What is no token cannot stand in a header.
  const known = /^[\x21-\x7e]+$/.test(token) ? await ask(token) : 401;
  if (known === 200) return enter();
  field.select();
  fail.textContent =
    { 0: "The console does not answer.", 401: "There is no such token, or it has expired.", 429: "Too many tries. Wait a minute." }[known] ??
    `The console answered ${known}.`;
});

async function ask(token) {
  try {
    const headers = { Authorization: `Bearer ${token}` };
    return (await fetch("/api/login", { method: "POST", headers })).status;
  } catch {
    return 0;
  }
}
