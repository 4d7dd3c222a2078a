/** The line above every view. */

import { useLost } from '../api/events.ts';
import type { Session } from '../api/types.ts';
import { go, toWorklist, type Route } from '../route.ts';
import { personName } from '../words.ts';
import { toggleTheme } from './theme.ts';

interface Props {
  session: Session;
  route: Route;
  leave: () => void;
  sheet: () => void;
}

export function Top({ session, route, leave, sheet }: Props) {
  const link = (name: Route['name'], path: string, text: string, run: () => void) => (
    <a
      href={path}
      aria-current={route.name === name ? 'page' : undefined}
      onClick={(event) => {
        event.preventDefault();
        run();
      }}
    >
      {text}
    </a>
  );
  const lost = useLost();
  return (
    <header class="top">
      <span class="brand">prelim</span>
      <nav aria-label="Views">
        {link('worklist', '/worklist', 'Worklist', toWorklist)}
        {link('agreement', '/agreement', 'Agreement', () => go('/agreement'))}
      </nav>
      <div id="top-study" />
      {/* The worklist says it below its lines. */}
      <span role="status">{lost && route.name !== 'worklist' && <span class="not-live">not live: reconnecting</span>}</span>
      {session.demonstration && <strong class="demonstration">Demonstration weights: not for clinical use</strong>}
      <span class="account" title={session.account.roles.join(', ')}>{personName(session.account.name || session.account.id)}</span>
      <button class="plain" onClick={toggleTheme} aria-label="Dark or light theme" title="Dark or light (Shift T)">◐</button>
      <button class="plain" onClick={sheet} aria-label="Keys" title="Keys (?)">?</button>
      <button class="plain" onClick={leave}>Sign out</button>
    </header>
  );
}
