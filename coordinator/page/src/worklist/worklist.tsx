/** The worklist: which studies wait, how urgent they are, who is reading them. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { serverNow } from '../api/client.ts';
import type { Row, Session } from '../api/types.ts';
import { useKeys } from '../keys.ts';
import { go, keepWorklist } from '../route.ts';
import { FilterBar } from './filter_bar.tsx';
import { compare, fromQuery, isFiltered, passes, tally, toPath, type Filters } from './filters.ts';
import { HEADINGS, Line } from './line.tsx';
import { MAX_ROWS, useRows } from './store.ts';

/** Height of a line in pixels, as the style sheet has it. */
const LINE = 34;
/** Height of the headings, which stay above the lines. */
const HEAD = 30;
/** Lines that are drawn above and below what is seen. */
const MARGIN = 12;

/** The study that was looked at last, so that the way back finds it. */
let last = '';
/** The order of the list as it was left, for the next study and the one before, and by which filters it was. */
let order: string[] = [];
let orderOf = '';

/** Has the way back lead to a study, however it was opened. */
export function keepLast(uid: string): void {
  last = uid;
}

export function isListed(uid: string): boolean {
  return order.includes(uid);
}

/** The list by which the next study is found where none was shown yet. */
export function keepOrder(uids: string[]): void {
  order = uids;
}

export function neighbour(uid: string, by: number): string | undefined {
  const at = order.indexOf(uid);
  return at < 0 ? undefined : order[at + by];
}

export function Worklist({ query, session }: { query: URLSearchParams; session: Session }) {
  const filters = useMemo(() => fromQuery(query), [query.toString()]);
  const { rows, beyond, sites, modalities, loading, more, problem, live, again } = useRows(filters);
  const address = toPath(filters);
  /** The list in which the chosen study was last: its place goes to the one that followed. */
  const stood = useRef({ of: orderOf, order });
  const [now, setNow] = useState(serverNow);
  const [selected, setSelected] = useState(last);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const list = useRef<HTMLDivElement>(null);
  const search = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), 30_000);
    document.title = 'Worklist · prelim';
    list.current?.focus({ preventScroll: true });
    return () => clearInterval(timer);
  }, []);

  // What is counted is what would be shown, so that the two never say different things.
  const { shown, counts } = useMemo(() => {
    const ofAnyState = [...rows.values()].filter((row) => passes({ ...filters, state: '' }, row, now));
    const counts = tally(ofAnyState);
    for (const [state, count] of Object.entries(beyond)) counts[state] = (counts[state] ?? 0) + count;
    return { shown: ofAnyState.filter((row) => passes(filters, row, now)).sort(compare(filters)), counts };
  }, [rows, beyond, filters, now]);
  order = shown.map((row) => row.uid);
  orderOf = address;
  const at = shown.findIndex((row) => row.uid === selected);
  if (at >= 0) stood.current = { of: address, order };

  // What is no filter does not stay in the address as if it were one.
  const isClean = address === ['/worklist', query.toString()].filter((part) => part !== '').join('?');
  useEffect(() => {
    if (!isClean) go(address, true);
  }, [isClean, address]);

  useEffect(() => {
    const element = list.current!;
    const observer = new ResizeObserver(() => setHeight(element.clientHeight - HEAD));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  // Rows that come in above the chosen one push the list, not the row: it stays where it was under the eye.
  const place = useRef(-1);
  useLayoutEffect(() => {
    const element = list.current!;
    const before = place.current;
    const visible = before >= 0 && before * LINE >= element.scrollTop - LINE && before * LINE < element.scrollTop + element.clientHeight - HEAD;
    if (at >= 0 && before >= 0 && at !== before && visible && chosen.current === selected) element.scrollTop += (at - before) * LINE;
    place.current = at;
    chosen.current = selected;
  });
  const chosen = useRef(selected);
  // The way back leads to where the study was opened.
  const isFound = useRef(false);
  useLayoutEffect(() => {
    if (isFound.current || at < 0) return;
    isFound.current = true;
    const element = list.current!;
    const y = at * LINE;
    if (y + LINE > element.scrollTop + element.clientHeight - HEAD) element.scrollTop = y - element.clientHeight / 2;
  });

  const scrollTo = (index: number) => {
    const element = list.current!;
    const y = index * LINE;
    if (y < element.scrollTop) element.scrollTop = y;
    else if (y + LINE > element.scrollTop + element.clientHeight - HEAD) element.scrollTop = y + LINE - element.clientHeight + HEAD;
  };
  const select = (index: number) => {
    const row = shown[Math.max(0, Math.min(shown.length - 1, index))];
    if (!row) return;
    setSelected(row.uid);
    last = row.uid;
    scrollTo(shown.indexOf(row));
  };
  const open = (row: Row | undefined) => {
    if (!row) return;
    last = row.uid;
    keepWorklist();
    go(`/study/${row.uid}`);
  };
  const change = (next: Partial<Filters>, replace = false) => go(toPath({ ...filters, ...next }), replace);

  const page = Math.max(1, Math.floor(height / LINE) - 1);
  useKeys([
    { keys: ['j', 'ArrowDown'], words: 'Next study', group: 'Worklist', run: () => select(at + 1) },
    { keys: ['k', 'ArrowUp'], words: 'Study before', group: 'Worklist', run: () => select(at < 0 ? 0 : at - 1) },
    { keys: ['PageDown'], run: () => select(at + page) },
    { keys: ['PageUp'], run: () => select(at - page) },
    { keys: ['Home'], run: () => select(0) },
    { keys: ['End'], run: () => select(shown.length - 1) },
    { keys: ['Enter', 'o'], words: 'Open', group: 'Worklist', run: () => open(shown[at] ?? shown[0]) },
    { keys: ['/'], words: 'Search', group: 'Worklist', run: () => search.current?.select() },
    { keys: ['r'], words: 'Load again', group: 'Worklist', run: again },
    ...['1', '2', '3', '4', '5', '6'].map((key) => ({ keys: [key], run: () => document.querySelectorAll<HTMLButtonElement>('.states button')[Number(key) - 1]?.click() })),
    { keys: ['1…6'], words: 'All, to read, in work, signed, rejected, problems', group: 'Worklist', run: () => undefined },
    { keys: ['x'], words: 'No filter', group: 'Worklist', run: () => go('/worklist') },
  ]);

  // There is always a row to go on from: where the chosen one left the list, that which took its place.
  const firstRow = shown[0]?.uid;
  useEffect(() => {
    if (at >= 0 || firstRow === undefined || (selected !== '' && loading)) return;
    const was = stood.current.of === address ? stood.current.order : [];
    const place = was.indexOf(selected);
    const near = place < 0 ? [] : [...was.slice(place + 1), ...was.slice(0, place).toReversed()];
    setSelected(near.find((uid) => order.includes(uid)) ?? firstRow);
  }, [at, firstRow, loading]);

  const first = Math.max(0, Math.floor(top / LINE) - MARGIN);
  const until = Math.min(shown.length, Math.ceil((top + height) / LINE) + MARGIN);

  return (
    <main class="worklist">
      <h1 class="hidden">Worklist</h1>
      <FilterBar filters={filters} counts={counts} sites={sites} modalities={modalities} change={change} search={search} leave={() => list.current?.focus()} />
      <div class="problem-line" role="status">
        {problem !== '' && <>{problem} <button class="plain" onClick={again}>Try again</button></>}
        {problem === '' && more && <>The newest {MAX_ROWS.toLocaleString('en')} studies are shown: search or filter for older ones.</>}
      </div>
      <div role="grid" aria-label="Studies" aria-rowcount={shown.length + 1} aria-busy={loading} class="grid" ref={list} tabIndex={0} onScroll={(event) => setTop(event.currentTarget.scrollTop)} aria-activedescendant={at >= first && at < until ? `row-${at}` : undefined}>
        <div role="rowgroup" class="heading">
          <div role="row" aria-rowindex={1} class="line">
            {HEADINGS.map(({ name, words }) => <span role="columnheader" class={`c-${name}`} key={name}>{words}</span>)}
          </div>
        </div>
        <div role="rowgroup" class="lines">
          <div class="space" role="presentation" style={{ height: `${shown.length * LINE}px` }}>
            {shown.slice(first, until).map((row, index) => (
              <Line key={row.uid} row={row} index={first + index} now={now} selected={row.uid === selected} me={session.account.id} y={(first + index) * LINE}
                choose={() => { setSelected(row.uid); last = row.uid; }} open={() => open(row)} />
            ))}
          </div>
          {shown.length === 0 && !loading && problem === '' && (
            <p class="empty" role="row"><span role="gridcell">{isFiltered(filters) ? 'No study passes these filters. Press x to take them away.' : 'No study is here yet. They come by DICOM, DICOMweb or `prelim submit`.'}</span></p>
          )}
        </div>
      </div>
      <footer class="foot">
        <span>{shown.length.toLocaleString('en')} {shown.length === 1 ? 'study' : 'studies'}{loading ? ', loading' : ''}</span>
        <span class={live ? 'live' : 'not-live'}>{live ? 'live' : 'not live: reconnecting'}</span>
        <span class="muted"><kbd>j</kbd> <kbd>k</kbd> move · <kbd>Enter</kbd> open · <kbd>/</kbd> search · <kbd>?</kbd> all keys</span>
      </footer>
    </main>
  );
}
