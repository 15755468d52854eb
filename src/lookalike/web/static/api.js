// Requests to the server, with the token where one is needed.

let token = sessionStorage.getItem("token") ?? "";
const tokenInUrl = new URLSearchParams(location.hash.slice(1)).get("token");
if (tokenInUrl) {
  token = tokenInUrl;
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname + location.search);
}

export class RequestError extends Error {}

// A header takes ASCII only; the server knows a token in either form.
const sendable = (text) => /^[\x21-\x7e]+$/.test(text) ? text : encodeURIComponent(text);

async function request(path, options = {}) {
  const headers = { ...options.headers, ...(token && { authorization: `Bearer ${sendable(token)}` }) };
  let response;
  try {
    response = await fetch(`/api${path}`, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError("Can't reach the server. Is it still running?");
  }
  if (response.status === 401) {
    await askToken();
    return request(path, options);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new RequestError(body.detail ?? `The server answered with status ${response.status}.`);
  }
  return response;
}

let tokenPrompt = null; // shared by all requests that wait for a token

function askToken() {
  const dialog = document.getElementById("ask-token");
  tokenPrompt ??= new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      token = document.getElementById("token").value.trim();
      sessionStorage.setItem("token", token);
      tokenPrompt = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return tokenPrompt;
}

export const getJson = async (path, options) => (await request(path, options)).json();

export const post = (path, body, options) =>
  request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), ...options });

export async function upload(file) {
  const body = new FormData();
  body.append("file", file);
  return (await request("/queries", { method: "POST", body })).json();
}

export const galleryPath = (gallery, rest = "") => `/galleries/${encodeURIComponent(gallery)}${rest}`;

export const bytesOf = async (path) => (await request(path)).arrayBuffer();

export const blobOf = async (path) => (await request(path)).blob();

// An <img> can't send a token, so with one the picture is fetched and shown from a blob URL.
export async function showPicture(image, gallery, id, side) {
  const path = galleryPath(gallery, `/pictures/${id}?side=${side}`);
  if (!token) {
    image.src = `/api${path}`;
    return;
  }
  const url = URL.createObjectURL(await (await request(path)).blob());
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
}
