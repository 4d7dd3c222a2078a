/** What is drawn over an image: boxes of findings, a box being drawn, a measurement. Own SVG, in the pane's own pixels. */

import type { Box } from '../api/types.ts';
import type { Pane } from './pane.ts';

export interface Shown {
  id: string;
  label: string;
  box: Box;
  chosen: boolean;
  /** How it stands: of the model, of a person, rejected; or what is asked about. */
  look: 'model' | 'person' | 'rejected' | 'asked';
}

export interface Measure {
  from: [number, number];
  to: [number, number];
}

interface Props {
  pane: Pane;
  columns: number;
  rows: number;
  boxes: Shown[];
  drawing: Box | null;
  measure: Measure | null;
  /** mm between rows and columns; nothing where they are not calibrated. */
  spacing: [number, number] | null;
  /** A tool is at hand: boxes take no pointer from it. */
  isHeld: boolean;
  hover: (id: string | null) => void;
}

/** A box's place in the pane; nothing while the image has none. */
export function cornersOf(pane: Pane, box: Box, columns: number, rows: number): { x: number; y: number; width: number; height: number } | null {
  const from = pane.toPane([box.left * columns, box.top * rows]);
  const to = pane.toPane([box.right * columns, box.bottom * rows]);
  return from === null || to === null ? null : { x: Math.min(from[0], to[0]), y: Math.min(from[1], to[1]), width: Math.abs(to[0] - from[0]), height: Math.abs(to[1] - from[1]) };
}

/** The finding whose box a point of the pane is in, the smallest of several; nothing where it is in none. */
export function boxAt(pane: Pane, boxes: Shown[], [x, y]: [number, number], columns: number, rows: number): string | null {
  const around = boxes.flatMap(({ id, look, box }) => {
    const at = look === 'asked' ? null : cornersOf(pane, box, columns, rows);
    return at !== null && x >= at.x && y >= at.y && x <= at.x + at.width && y <= at.y + at.height ? [{ id, area: at.width * at.height }] : [];
  });
  return around.toSorted((a, b) => a.area - b.area)[0]?.id ?? null;
}

/** Length in mm, or in pixels where nobody knows what a pixel is. */
export function length({ from, to }: Measure, spacing: [number, number] | null): { text: string; mm: number | null } {
  const [row, column] = spacing ?? [1, 1];
  const value = Math.hypot((to[0] - from[0]) * column, (to[1] - from[1]) * row);
  return spacing === null ? { text: `${Math.round(value)} px, not calibrated`, mm: null } : { text: `${value.toFixed(1)} mm`, mm: value };
}

export function Overlay({ pane, columns, rows, boxes, drawing, measure, spacing, isHeld, hover }: Props) {
  const corners = (box: Box) => cornersOf(pane, box, columns, rows);
  const line = measure === null ? null : { from: pane.toPane(measure.from), to: pane.toPane(measure.to) };
  const drawn = drawing === null ? null : corners(drawing);
  return (
    <svg class={isHeld ? 'overlay is-held' : 'overlay'} aria-hidden="true">
      {boxes.map((each) => {
        const at = corners(each.box);
        return (
          at !== null && (
            <g key={each.id} class={`box ${each.look} ${each.chosen ? 'chosen' : ''}`} data-finding={each.look === 'asked' ? undefined : each.id}
              onPointerEnter={() => { if (each.look !== 'asked') hover(each.id); }} onPointerLeave={() => hover(null)}>
              <rect {...at} class="halo" />
              <rect {...at} class="edge" />
              <text x={at.x} y={at.y - 5}>{each.label}</text>
            </g>
          )
        );
      })}
      {drawn !== null && <rect {...drawn} class="drawing" />}
      {line?.from && line.to && measure !== null && (
        <g class="measure">
          <line x1={line.from[0]} y1={line.from[1]} x2={line.to[0]} y2={line.to[1]} class="halo" />
          <line x1={line.from[0]} y1={line.from[1]} x2={line.to[0]} y2={line.to[1]} />
          <text x={line.to[0] + 8} y={line.to[1] - 6}>{length(measure, spacing).text}</text>
        </g>
      )}
    </svg>
  );
}
