/** Other tabs of this browser, which share its session. */

const channel = new BroadcastChannel('prelim');

/** Tells the other tabs that somebody has signed in here, or out. */
export function tellElsewhere(what: 'signed-in' | 'signed-out'): void {
  channel.postMessage(what);
}

/** Calls when another tab has signed in, or out. */
export function onElsewhere(listener: () => void): () => void {
  channel.addEventListener('message', listener);
  return () => channel.removeEventListener('message', listener);
}
