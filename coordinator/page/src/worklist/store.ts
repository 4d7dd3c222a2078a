/** The rows of the worklist: loaded in pages, then kept up to date by events. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { get, words } from '../api/client.ts';
import { listen } from '../api/events.ts';
import type { Reader, Row } from '../api/types.ts';
import { asked, tally, type Filters } from './filters.ts';

/** Rows that are loaded at most. */
export const MAX_ROWS = 5_000;

export interface Rows {
  rows: Map<string, Row>;
  /** How many there are by state beyond those rows. */
  beyond: Record<string, number>;
  /** What can be chosen. */
  sites: string[];
  modalities: string[];
  loading: boolean;
  /** There are more than were loaded. */
  more: boolean;
  problem: string;
  live: boolean;
  again: () => void;
}

interface Page {
  studies: Row[];
  next: string | null;
  counts: Record<string, number>;
  choices: { sites: string[]; modalities: string[] };
}

export function useRows(filters: Filters): Rows {
  const [state, setState] = useState<Omit<Rows, 'again'>>({ rows: new Map(), beyond: {}, sites: [], modalities: [], loading: true, more: false, problem: '', live: false });
  const [round, setRound] = useState(0);
  const { modality, urgency, site, text, confidence, age } = filters;
  const lost = useRef(false);

  useEffect(() => {
    let gone = false;
    void (async () => {
      setState((was) => ({ ...was, loading: true }));
      const rows = new Map<string, Row>();
      let after: string | null = null;
      try {
        do {
          const page: Page = await get<Page>(`/studies?${asked(filters, after)}`);
          if (gone) return;
          for (const row of page.studies) rows.set(row.uid, row);
          after = page.next;
          const done = after === null || rows.size >= MAX_ROWS;
          const loaded = tally([...rows.values()]);
          const beyond = Object.fromEntries(Object.entries(page.counts).map(([state, count]) => [state, after === null ? 0 : Math.max(0, count - (loaded[state] ?? 0))]));
          // The first page is shown at once; the rows that were there stay until then.
          setState((was) => ({ ...was, rows: new Map(rows), beyond, sites: page.choices.sites, modalities: page.choices.modalities, loading: !done, more: after !== null && done, problem: '' }));
        } while (after !== null && rows.size < MAX_ROWS);
      } catch (error) {
        if (!gone) setState((was) => ({ ...was, loading: false, problem: words(error) }));
      }
    })();
    return () => {
      gone = true;
    };
  }, [modality, urgency, site, text, confidence, age, round]);

  useEffect(
    () =>
      listen({
        study: (row: Row) => setState((was) => ({ ...was, rows: new Map(was.rows).set(row.uid, row) })),
        removed: ({ uid }: { uid: string }) =>
          setState((was) => {
            const rows = new Map(was.rows);
            rows.delete(uid);
            return { ...was, rows };
          }),
        readers: ({ uid, readers }: { uid: string; readers: Reader[] }) =>
          setState((was) => {
            const row = was.rows.get(uid);
            return row ? { ...was, rows: new Map(was.rows).set(uid, { ...row, readers }) } : was;
          }),
        reload: () => setRound((count) => count + 1),
        live: (live: boolean) => {
          // What was missed while it was away is loaded.
          if (live && lost.current) setRound((count) => count + 1);
          lost.current = !live;
          setState((was) => ({ ...was, live }));
        },
      }),
    [],
  );

  useEffect(() => {
    const again = () => setRound((count) => count + 1);
    addEventListener('prelim:signed-in', again);
    return () => removeEventListener('prelim:signed-in', again);
  }, []);

  return { ...state, again: () => setRound((count) => count + 1) };
}
