/** A question that was begun and not sent: kept for this tab and this person while the page is loaded again, and no longer than until
 * they sign out. */

const KEY = 'prelim.half-typed.';

function keyOf(who: string, study: string): string {
  return `${KEY}${who} ${study}`;
}

export function halfTyped(who: string, study: string): string {
  return sessionStorage.getItem(keyOf(who, study)) ?? '';
}

export function keepHalfTyped(who: string, study: string, text: string): void {
  if (text === '') sessionStorage.removeItem(keyOf(who, study));
  else sessionStorage.setItem(keyOf(who, study), text);
}

/** What people ask names patients: nothing of it stays for who signs in next. */
export function forgetHalfTyped(): void {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(KEY)) sessionStorage.removeItem(key);
}
