// Logging in: the token is typed in once, and a cookie that no script sees stands for it.

const field = document.getElementById("token");
const fail = document.getElementById("fail");
const WORDS = { 401: "There is no such token, or it has expired.", 429: "Too many tries. Wait a minute." };
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
  const reason = /^[\x21-\x7e]+$/.test(token) ? await refusal(token) : WORDS[401];
  if (!reason) return enter();
  field.select();
  fail.textContent = reason;
});

/** Why the token is not taken; nothing if it is. */
async function refusal(token) {
  const headers = { Authorization: `Bearer ${token}` };
  const answer = await fetch("/api/login", { method: "POST", headers }).catch(() => null);
  if (answer?.ok) return "";
  const { error } = (await answer?.json().catch(() => null)) ?? {};
  return WORDS[answer?.status] ?? error?.message ?? "The console does not answer.";
}
