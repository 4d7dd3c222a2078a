/** Addresses of the page, in the browser's own history. */

import { useEffect, useState } from 'preact/hooks';

export interface Route {
  name: 'worklist' | 'study' | 'agreement' | 'sign-in';
  uid: string;
  query: URLSearchParams;
}

function read(): Route {
  const [, first = '', second = ''] = location.pathname.split('/');
  const query = new URLSearchParams(location.search);
  // What cannot be the UID of a study is none that is here: the view says so.
  if (first === 'study') return { name: 'study', uid: /^[0-9.]{1,64}$/.test(second) ? second : '', query };
  if (first === 'agreement' || first === 'sign-in') return { name: first, uid: '', query };
  return { name: 'worklist', uid: '', query };
}

const listeners = new Set<() => void>();

/** Goes to an address; `replace` where the way back should not stop here. */
export function go(path: string, replace = false): void {
  if (replace) history.replaceState(null, '', path);
  else history.pushState(null, '', path);
  for (const listener of listeners) listener();
}

export function useRoute(): Route {
  const [route, set] = useState(read);
  useEffect(() => {
    const update = () => set(read());
    listeners.add(update);
    addEventListener('popstate', update);
    return () => {
      listeners.delete(update);
      removeEventListener('popstate', update);
    };
  }, []);
  return route;
}

/** The worklist's last filters, so that the way back leads to the same rows. */
let worklist = '/worklist';
export function keepWorklist(): void {
  worklist = location.pathname + location.search;
}
export function toWorklist(): void {
  go(worklist);
}
