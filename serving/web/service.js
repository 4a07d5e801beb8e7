// Requests to the service, with the API key of this tab where one was entered. The key is in no URL.

const KEY = "key";

export const storedKey = () => sessionStorage.getItem(KEY);
export const storeKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // 0: no response
  }
}

// The response, if its status is 2xx. Throws RequestError; without a valid key the document gets the event `keyneeded`.
export async function call(path, options = {}) {
  const key = storedKey();
  const headers = { ...options.headers, ...(key ? { "x-api-key": key } : {}) };
  const response = await fetch(path, { ...options, headers }).catch(() => {
    throw new RequestError("The service cannot be reached.", 0);
  });
  if (response.status === 401) document.dispatchEvent(new Event("keyneeded"));
  if (!response.ok) throw new RequestError(await reason(response), response.status);
  return response;
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The service answered with status ${response.status}.`;
  }
}

// One run of `work` at a time: of the calls during a run, one more run follows. Errors go to `fail`.
export function latest(work, fail) {
  let running = false;
  let again = false;
  return async function run() {
    again = running;
    if (running) return;
    running = true;
    try {
      await work();
    } catch (error) {
      fail(error);
    }
    running = false;
    if (again) run();
  };
}
