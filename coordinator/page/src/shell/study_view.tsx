/** The view of a study, which is most of the page's weight: fetched ahead, and asked for again where it could not be had. */

import type { ComponentType } from 'preact';
import { useCallback, useEffect, useState } from 'preact/hooks';
import type { Session } from '../api/types.ts';
import { toWorklist } from '../route.ts';
import { useKeys } from '../keys.ts';

interface Props {
  uid: string;
  session: Session;
}

/** Which version of the page was loaded anew, so that this is done once. */
const KEY = 'prelim.loaded-anew';

let View: ComponentType<Props> | null = null;

async function fetchView(): Promise<void> {
  View ??= (await import('../study/page.tsx')).StudyPage;
}

/** Fetches it while there is time: the worklist does not wait for it. */
export function fetchAhead(): void {
  // Who opens a study is told.
  void fetchView().catch(() => undefined);
}

/** Loads the page anew where the coordinator has another version of it: the files of this one are gone. */
async function loadNewer(): Promise<void> {
  const mine = document.querySelector('script[type=module]')?.getAttribute('src') ?? '';
  const response = await fetch('/', { cache: 'no-store' });
  const isNewer = response.ok && mine !== '' && !(await response.text()).includes(mine);
  if (!isNewer || sessionStorage.getItem(KEY) === mine) return;
  sessionStorage.setItem(KEY, mine);
  location.reload();
}

export function StudyView(props: Props) {
  const [state, setState] = useState<'fetching' | 'here' | 'missing'>(View === null ? 'fetching' : 'here');
  const fetchAgain = useCallback(() => {
    if (View === null) setState('fetching');
    fetchView().then(
      () => setState('here'),
      async () => {
        await loadNewer().catch(() => undefined);
        setState('missing');
      },
    );
  }, []);
  // Also where it came since this was drawn: nobody else says so.
  useEffect(fetchAgain, [fetchAgain]);
  useKeys(state === 'here' ? [] : [{ keys: ['u'], run: toWorklist }]);
  if (View !== null) return <View {...props} />;
  if (state === 'fetching') return <main class="quiet" aria-busy="true" />;
  return (
    <main class="quiet">
      <p role="alert">The part of the page that shows studies cannot be had from the coordinator. Nothing of the study is lost.</p>
      <p><button class="primary" onClick={fetchAgain}>Try again</button> <button onClick={() => location.reload()}>Load the page anew</button> <button onClick={toWorklist}>Worklist <kbd>u</kbd></button></p>
    </main>
  );
}
