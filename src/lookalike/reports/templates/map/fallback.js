// Runs what may fail on a page without a server, and shows why it did.
export async function attempt(work, onFailure = () => {}) {
  try {
    return await work();
  } catch (error) {
    onFailure();
    document.getElementById("message").textContent = `This map can't be shown: ${error.message}`;
    return undefined;
  }
}
