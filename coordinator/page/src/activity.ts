/** That somebody is there. Slices that a browser holds are turned without a request, and the session would end as unused. */

import { call, signedIn } from './api/client.ts';

/** Shorter than the shortest time after which a site ends a session that nobody uses. */
const EVERY_MS = 45_000;

let told = -EVERY_MS;

function tell(): void {
  if (signedIn() === '' || performance.now() - told < EVERY_MS) return;
  told = performance.now();
  // The lightest of what counts as use. That the session is over, the page hears of it as of every call.
  void call('HEAD', '/vocabulary').catch(() => undefined);
}

for (const what of ['keydown', 'pointerdown', 'pointermove', 'wheel']) addEventListener(what, tell, { capture: true, passive: true });
