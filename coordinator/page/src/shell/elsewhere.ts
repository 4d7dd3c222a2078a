/** Other tabs of this browser, which share its session. */

const channel = new BroadcastChannel('prelim');

/** Tells the other tabs that somebody is signed in here. */
export function tellElsewhere(): void {
  channel.postMessage('signed-in');
}

/** Calls when another tab has signed in. */
export function onElsewhere(listener: () => void): () => void {
  channel.addEventListener('message', listener);
  return () => channel.removeEventListener('message', listener);
}
