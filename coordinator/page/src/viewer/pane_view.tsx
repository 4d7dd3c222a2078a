/** One pane on the page: the image, what lies over it, and the mouse. */

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { words } from '../api/client.ts';
import type { Box } from '../api/types.ts';
import { date } from '../words.ts';
import { letters as lettersOf, type Stack } from './frames.ts';
import { length, Overlay, type Measure, type Shown } from './overlay.tsx';
import { Pane, prefetch } from './pane.ts';
import type { Window } from './presets.ts';

export type Tool = 'look' | 'box' | 'measure';

export interface Handle {
  pane: Pane;
}

interface Props {
  stack: Stack;
  index: number;
  /** Another study hangs beside this one. */
  besides: boolean;
  active: boolean;
  window: Window | null;
  tool: Tool;
  boxes: Shown[];
  drawing: Box | null;
  /** Places in the stack on which something was found. */
  marks: number[];
  turn: (index: number) => void;
  activate: () => void;
  setWindow: (window: Window) => void;
  choose: (id: string) => void;
  hover: (id: string | null) => void;
  draw: (box: Box, done: boolean) => void;
  measured: (mm: number | null) => void;
  handle: (handle: Handle | null) => void;
}

const clamp = (value: number) => Math.min(1, Math.max(0, value));

export function PaneView(props: Props) {
  const { stack, index, active, window: wanted, tool, boxes, drawing } = props;
  const element = useRef<HTMLDivElement>(null);
  const pane = useRef<Pane | null>(null);
  const [, redraw] = useState(0);
  const [problem, setProblem] = useState('');
  const [loaded, setLoaded] = useState(0);
  const [measure, setMeasure] = useState<Measure | null>(null);
  const [probe, setProbe] = useState('');
  const latest = useRef(props);
  latest.current = props;
  const frame = stack.frames[index];
  const { instance } = frame ?? {};

  useLayoutEffect(() => {
    let gone = false;
    let stop: (() => void) | null = null;
    setProblem('');
    setLoaded(0);
    setMeasure(null);
    void (async () => {
      try {
        const opened = await Pane.attach(element.current!, stack.kind, () => redraw((count) => count + 1));
        if (gone) return opened.close();
        pane.current = opened;
        opened.setWindow(latest.current.window);
        await opened.open(stack.frames, latest.current.index);
        if (gone) return;
        latest.current.handle({ pane: opened });
        if (stack.frames.length > 1) stop = prefetch(stack.frames, latest.current.index, setLoaded);
      } catch (error) {
        if (!gone) setProblem(words(error));
      }
    })();
    return () => {
      gone = true;
      stop?.();
      latest.current.handle(null);
      pane.current?.close();
      pane.current = null;
    };
  }, [stack.key]);

  useEffect(() => {
    setMeasure(null);
    pane.current?.show(index).then(() => setProblem(''), (error: unknown) => setProblem(words(error)));
  }, [index]);
  useEffect(() => pane.current?.setWindow(wanted), [wanted?.center, wanted?.width]);

  useEffect(() => {
    // In the next frame: what is drawn anew within the observation counts as a loop.
    let next = 0;
    const observer = new ResizeObserver(() => {
      cancelAnimationFrame(next);
      next = requestAnimationFrame(() => pane.current?.resize());
    });
    observer.observe(element.current!);
    return () => {
      cancelAnimationFrame(next);
      observer.disconnect();
    };
  }, []);

  const at = (event: MouseEvent): [number, number] => {
    const { left, top } = element.current!.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const fraction = (pixel: [number, number]): [number, number] => [clamp(pixel[0] / (instance?.columns ?? 1)), clamp(pixel[1] / (instance?.rows ?? 1))];

  const down = (event: PointerEvent) => {
    const shown = pane.current;
    if (shown === null || shown.index < 0) return;
    latest.current.activate();
    event.preventDefault();
    const target = element.current!;
    target.setPointerCapture(event.pointerId);
    const began = at(event);
    const first = shown.toPixel(began);
    const before = shown.currentWindow();
    let last = began;
    // Left draws, measures or windows; the middle button pans; the right one zooms.
    const act = event.button === 1 || event.shiftKey ? 'pan' : event.button === 2 || event.ctrlKey ? 'zoom' : tool === 'look' ? 'window' : tool;
    const move = (next: PointerEvent) => {
      const now = at(next);
      const [dx, dy] = [now[0] - last[0], now[1] - last[1]];
      last = now;
      const pixel = shown.toPixel(now);
      if (act === 'pan') shown.pan(dx, dy);
      else if (act === 'zoom') shown.zoom(Math.exp(-dy / 150), began);
      else if (act === 'window' && before !== null) {
        const gain = Math.max(1, before.width) / 400;
        const window = { width: Math.max(1, before.width + (now[0] - began[0]) * gain * 1.5), center: before.center + (now[1] - began[1]) * gain };
        latest.current.setWindow(window);
      } else if (act === 'measure' && first !== null && pixel !== null) setMeasure({ from: first, to: pixel });
      else if (act === 'box' && first !== null && pixel !== null) latest.current.draw(boxOf(fraction(first), fraction(pixel)), false);
    };
    const up = (next: PointerEvent) => {
      target.removeEventListener('pointermove', move);
      target.removeEventListener('pointerup', up);
      target.removeEventListener('pointercancel', up);
      const pixel = shown.toPixel(at(next));
      if (act === 'box' && first !== null && pixel !== null) {
        const box = boxOf(fraction(first), fraction(pixel));
        if (box.right - box.left > 0.004 && box.bottom - box.top > 0.004) latest.current.draw(box, true);
      }
      if (act === 'measure' && first !== null && pixel !== null) latest.current.measured(length({ from: first, to: pixel }, spacing).mm);
    };
    target.addEventListener('pointermove', move);
    target.addEventListener('pointerup', up);
    target.addEventListener('pointercancel', up);
  };

  const wheel = useRef(0);
  useEffect(() => {
    const target = element.current!.parentElement!;
    const turned = (event: WheelEvent) => {
      event.preventDefault();
      const { stack: shown, index: place, turn } = latest.current;
      if (event.ctrlKey || event.metaKey || shown.frames.length === 1) {
        const { left, top } = target.getBoundingClientRect();
        pane.current?.zoom(Math.exp(-event.deltaY / 400), [event.clientX - left, event.clientY - top]);
        return;
      }
      // A notch of a wheel is one slice; a touchpad's small steps add up to one.
      wheel.current += event.deltaMode === 1 ? event.deltaY * 33 : event.deltaY;
      const steps = Math.trunc(wheel.current / 50);
      if (steps !== 0) {
        wheel.current = 0;
        turn(Math.min(shown.frames.length - 1, Math.max(0, place + (Math.abs(steps) > 2 ? steps - Math.sign(steps) : Math.sign(steps)))));
      }
    };
    target.addEventListener('wheel', turned, { passive: false });
    return () => target.removeEventListener('wheel', turned);
  }, []);

  const spacing: [number, number] | null = instance?.spacing && instance.spacing_is_calibrated ? [instance.spacing[0]!, instance.spacing[1]!] : null;
  const letters = instance === undefined ? null : lettersOf(instance);
  const current = pane.current?.currentWindow() ?? null;
  const several = stack.frames.length > 1;
  const name = `${stack.prior === null ? '' : `${stack.prior} study ${date(stack.date)}, `}${stack.label}${several ? `, slice ${index + 1} of ${stack.frames.length}` : ''}`;
  return (
    <section class={`pane ${active ? 'active' : ''} ${stack.prior === null ? '' : 'prior'}`} aria-label={name} data-ready={pane.current !== null && pane.current.index === index}>
      <div class={`image tool-${tool}`} ref={element} role="img" aria-label={`Image: ${name}`} onPointerDown={down} onContextMenu={(event) => event.preventDefault()}
        onDblClick={() => pane.current?.fit()}
        onPointerMove={(event) => {
          const pixel = pane.current?.toPixel(at(event));
          const value = pixel ? pane.current?.valueAt(pixel) : null;
          setProbe(value === null || value === undefined ? '' : stack.kind === 'ct' ? `${Math.round(value)} HU` : `${Math.round(value)}`);
        }}
        onPointerLeave={() => setProbe('')}
      />
      {pane.current !== null && pane.current.index === index && instance !== undefined && (
        <Overlay pane={pane.current} columns={instance.columns} rows={instance.rows} boxes={boxes} drawing={drawing} measure={measure} spacing={spacing} choose={props.choose} hover={props.hover} />
      )}
      <div class="corner top-left">
        {stack.prior !== null ? <b class="is-prior">{stack.prior === 'earlier' ? 'PRIOR' : 'LATER'} {date(stack.date) || 'no date'}</b> : <span><b>{props.besides ? 'CURRENT ' : ''}</b>{date(stack.date)}</span>}
        <span>{stack.label}</span>
        <span class="dim">{stack.description}</span>
      </div>
      <div class="corner top-right">
        {stack.kind !== 'ct' && spacing === null && <span class="dim">not calibrated</span>}
        {several && loaded < stack.frames.length && loaded > 0 && <span class="dim">{loaded} of {stack.frames.length} loaded</span>}
      </div>
      <div class="corner bottom-left">
        {several && <span>{index + 1} / {stack.frames.length}</span>}
        <span class="dim">{current === null ? '' : `C ${Math.round(current.center)} W ${Math.round(current.width)}`} {pane.current === null || pane.current.index < 0 ? '' : `· ${Math.round(pane.current.zoomFactor * 100)} %`}</span>
      </div>
      <div class="corner bottom-right"><span class="dim">{probe}</span></div>
      {letters && <><i class="letter l">{letters.left}</i><i class="letter r">{letters.right}</i><i class="letter t">{letters.top}</i><i class="letter b">{letters.bottom}</i></>}
      {several && <div class="track" aria-hidden="true"><div class="thumb" style={{ top: `${(index / Math.max(1, stack.frames.length - 1)) * 100}%` }} />{props.marks.map((place) => <i key={place} style={{ top: `${(place / Math.max(1, stack.frames.length - 1)) * 100}%` }} />)}</div>}
      {problem !== '' && <p class="pane-problem" role="alert">This image cannot be shown: {problem}</p>}
    </section>
  );
}

function boxOf(a: [number, number], b: [number, number]): Box {
  return { left: Math.min(a[0], b[0]), right: Math.max(a[0], b[0]), top: Math.min(a[1], b[1]), bottom: Math.max(a[1], b[1]) };
}
