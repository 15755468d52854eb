// Requests to the server: JSON, pictures, the token.

let token = sessionStorage.getItem("token") ?? "";
const fromAddress = new URLSearchParams(location.hash.slice(1)).get("token");
if (fromAddress) {
  token = fromAddress;
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname);
}

export class Refused extends Error {}

async function request(path, options = {}) {
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(`/api${path}`, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    await askToken();
    return request(path, options);
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Refused(said.detail ?? `The server answered ${response.status}.`);
  }
  return response;
}

let asking = null;

function askToken() {
  const dialog = document.getElementById("ask-token");
  asking ??= new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      token = document.getElementById("token").value.trim();
      sessionStorage.setItem("token", token);
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export const getJson = async (path, options) => (await request(path, options)).json();

export const post = (path, body, options) =>
  request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), ...options });

export async function upload(file) {
  const body = new FormData();
  body.append("file", file);
  return (await request("/queries", { method: "POST", body })).json();
}

// With a token pictures can't be plain addresses: they are fetched and shown from memory.
export async function showPicture(image, gallery, id, side) {
  const path = `/galleries/${encodeURIComponent(gallery)}/pictures/${id}?side=${side}`;
  if (!token) {
    image.src = `/api${path}`;
    return;
  }
  const address = URL.createObjectURL(await (await request(path)).blob());
  image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  image.src = address;
}
