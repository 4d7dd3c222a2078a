/** What a mouse, a pen or fingers do to the image in a pane. */

import type { Box } from '../api/types.ts';
import type { Measure } from './overlay.tsx';
import type { Pane } from './pane.ts';
import type { Window } from './presets.ts';

export type Tool = 'look' | 'box' | 'measure';

type Point = [number, number];

/** What a gesture reaches: the pane's state at the time, and what comes of it. */
export interface Reach {
  pane: () => Pane | null;
  tool: Tool;
  /** The image's size in pixels. */
  columns: number;
  rows: number;
  /** Slices of the stack, and the one that is shown. */
  frames: number;
  index: number;
  turn: (index: number) => void;
  activate: () => void;
  setWindow: (window: Window) => void;
  setMeasure: (measure: Measure) => void;
  measured: (measure: Measure) => void;
  draw: (box: Box, done: boolean) => void;
  /** A click, and on whose box or label it was; nothing where it was on the image. */
  click: (at: Point, on: string | null) => void;
}

/** The least part of the image that a box takes up: less was a click. */
const LEAST_BOX = 0.004;
/** How far a finger moves from slice to slice, in pixels, at least and at most: a stack of any height is a few strokes. */
const LEAST_STROKE = 4;
const MOST_STROKE = 16;
/** How far a pointer moves at most while it clicks, in pixels. */
const MOST_CLICK = 4;

const clamp = (value: number) => Math.min(1, Math.max(0, value));

export function boxOf(a: Point, b: Point): Box {
  return { left: Math.min(a[0], b[0]), right: Math.max(a[0], b[0]), top: Math.min(a[1], b[1]), bottom: Math.max(a[1], b[1]) };
}

/** One pane's pointers. Two fingers zoom and move the image, whatever one began. */
export class Pointers {
  private readonly fingers = new Map<number, Point>();
  /** Takes the gesture of one pointer back. */
  private stop: (() => void) | null = null;

  constructor(
    /** What lies over the image, such as the edge of a box, is a part of it. */
    private readonly target: HTMLElement,
    private readonly image: HTMLElement,
    private readonly reach: () => Reach,
  ) {}

  /** Where an event is, in pixels of the image's place. */
  at(event: MouseEvent): Point {
    const { left, top } = this.image.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  down(event: PointerEvent): void {
    const reach = this.reach();
    const pane = reach.pane();
    if (pane === null || pane.index < 0) return;
    reach.activate();
    event.preventDefault();
    this.target.setPointerCapture(event.pointerId);
    if (event.pointerType !== 'touch') return this.one(event, pane, reach);
    this.fingers.set(event.pointerId, this.at(event));
    this.watch(event.pointerId, (next) => this.fingers.set(event.pointerId, this.at(next)), () => this.fingers.delete(event.pointerId));
    if (this.fingers.size === 1) this.one(event, pane, reach);
    else if (this.fingers.size === 2) this.two(pane);
  }

  /** Calls while a pointer moves, and when it is gone. */
  private watch(pointer: number, move: (event: PointerEvent) => void, up: (event: PointerEvent) => void): () => void {
    const mine = (run: (event: PointerEvent) => void) => (event: PointerEvent) => { if (event.pointerId === pointer) run(event); };
    const moved = mine(move);
    const stop = () => {
      this.target.removeEventListener('pointermove', moved);
      for (const name of ['pointerup', 'pointercancel'] as const) this.target.removeEventListener(name, gone);
    };
    const gone = mine((event) => {
      stop();
      up(event);
    });
    this.target.addEventListener('pointermove', moved);
    for (const name of ['pointerup', 'pointercancel'] as const) this.target.addEventListener(name, gone);
    return stop;
  }

  /** Left draws, measures or windows; the middle button moves; the right one zooms. A finger turns the slices of a stack. */
  private one(event: PointerEvent, pane: Pane, { tool, columns, rows, frames, index }: Reach): void {
    const began = this.at(event);
    const first = pane.toPixel(began);
    const on = event.target instanceof Element ? (event.target.closest<SVGElement>('[data-finding]')?.dataset['finding'] ?? null) : null;
    let isClick = true;
    const before = pane.currentWindow();
    const fraction = (pixel: Point): Point => [clamp(pixel[0] / columns), clamp(pixel[1] / rows)];
    const stroke = Math.min(MOST_STROKE, Math.max(LEAST_STROKE, this.image.clientHeight / Math.max(1, frames)));
    const isTurning = event.pointerType === 'touch' && frames > 1;
    const act = event.button === 1 || event.shiftKey ? 'pan' : event.button === 2 || event.ctrlKey ? 'zoom' : tool !== 'look' ? tool : isTurning ? 'turn' : 'window';
    let last = began;
    const move = (next: PointerEvent) => {
      const now = this.at(next);
      const [dx, dy] = [now[0] - last[0], now[1] - last[1]];
      isClick &&= Math.hypot(now[0] - began[0], now[1] - began[1]) <= MOST_CLICK;
      last = now;
      const pixel = pane.toPixel(now);
      const reach = this.reach();
      if (act === 'pan') pane.pan(dx, dy);
      else if (act === 'zoom') pane.zoom(Math.exp(-dy / 150), began);
      else if (act === 'turn') reach.turn(index + Math.trunc((now[1] - began[1]) / stroke));
      else if (act === 'window' && before !== null) {
        const gain = Math.max(1, before.width) / 400;
        reach.setWindow({ width: Math.max(1, before.width + (now[0] - began[0]) * gain * 1.5), center: before.center + (now[1] - began[1]) * gain });
      } else if (act === 'measure' && first !== null && pixel !== null) reach.setMeasure({ from: first, to: pixel });
      else if (act === 'box' && first !== null && pixel !== null) reach.draw(boxOf(fraction(first), fraction(pixel)), false);
    };
    const up = (next: PointerEvent) => {
      this.stop = null;
      const pixel = pane.toPixel(this.at(next));
      if (isClick && (act === 'window' || act === 'turn') && next.type !== 'pointercancel') this.reach().click(began, on);
      if (first === null || pixel === null || next.type === 'pointercancel') return;
      if (act === 'measure') this.reach().measured({ from: first, to: pixel });
      const box = boxOf(fraction(first), fraction(pixel));
      if (act === 'box' && box.right - box.left > LEAST_BOX && box.bottom - box.top > LEAST_BOX) this.reach().draw(box, true);
    };
    this.stop = this.watch(event.pointerId, move, up);
  }

  /** What the first finger began is left, and both move the image by their middle and zoom it by their distance. */
  private two(pane: Pane): void {
    this.stop?.();
    this.stop = null;
    const [a, b] = [...this.fingers.keys()] as [number, number];
    const both = () => {
      const [p, q] = [this.fingers.get(a), this.fingers.get(b)];
      return p === undefined || q === undefined ? null : { middle: [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2] as Point, apart: Math.max(1, Math.hypot(p[0] - q[0], p[1] - q[1])) };
    };
    let last = both();
    const move = () => {
      const now = both();
      if (now === null || last === null) return;
      pane.pan(now.middle[0] - last.middle[0], now.middle[1] - last.middle[1]);
      pane.zoom(now.apart / last.apart, now.middle);
      last = now;
    };
    const stops = [a, b].map((pointer) => this.watch(pointer, move, () => stops.forEach((stop) => stop())));
  }
}
