/** The study after or before one in the list. Where the page was opened at a study, no list was seen yet: then in that with which the
 *  worklist opens. */

import { get } from '../api/client.ts';
import type { Row } from '../api/types.ts';
import { asked, compare, fromQuery } from '../worklist/filters.ts';
import { isListed, keepOrder, neighbour } from '../worklist/worklist.tsx';

/** Nothing where the list ends, or a study is not in it. */
export async function neighbourOf(uid: string, by: number): Promise<string | undefined> {
  if (!isListed(uid)) {
    const filters = fromQuery(new URLSearchParams());
    const { studies } = await get<{ studies: Row[] }>(`/studies?${asked(filters, null)}`);
    keepOrder(studies.sort(compare(filters)).map((row) => row.uid));
  }
  return neighbour(uid, by);
}
