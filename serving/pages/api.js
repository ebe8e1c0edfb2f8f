// Calls of the server's own HTTP API, and its errors in words.

const ROOT = new URL(".", document.baseURI);
const BUSY_TRIES = 3;
const LONGEST_PAUSE_S = 5;

/**
 * `kind` is "gone" (nobody answers), "busy" (too many requests), "away" (models are being loaded),
 * "late" (no answer in time), "failed" (a defect), or "refused" (the request is at fault).
 */
export class ApiError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

async function once(path, options) {
  let response;
  try {
    response = await fetch(new URL(`./${path}`, ROOT), {
      cache: "no-store",
      credentials: "omit",
      ...options,
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(
      "gone",
      "The server does not answer. It may have been stopped, or the network is down.",
    );
  }
  return response;
}

async function read(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError("gone", "What answers is no recall server.");
  }
}

async function call(path, options) {
  for (let tries = 1; ; tries += 1) {
    const response = await once(path, options);
    if (response.ok) return read(response);
    if (response.status === 429 && tries < BUSY_TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await pause(Math.min(seconds, LONGEST_PAUSE_S), options.signal);
      continue;
    }
    const { error } = await read(response);
    const text = String(error ?? response.statusText);
    if (response.status === 429) {
      throw new ApiError("busy", "The server has more requests than it can take. Try again in a moment.");
    }
    if (response.status === 504) throw new ApiError("late", "The server found no answer in time.");
    throw new ApiError({ 500: "failed", 503: "away" }[response.status] ?? "refused", text);
  }
}

export const get = (path, signal) => call(path, { signal });

export const post = (path, document, signal) =>
  call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
    signal,
  });
