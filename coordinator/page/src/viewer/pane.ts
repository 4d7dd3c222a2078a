/** One pane: a stack in Cornerstone's viewport, in the words of the page (pixels of the frame, windows in modality values). */

import { RenderingEngine, Enums, init, cache, setUseCPURendering, type Types } from '@cornerstonejs/core';
import type { FrameFacts } from '../api/types.ts';
import { release, want } from './fetching.ts';
import type { Frame, Stack } from './frames.ts';
import { announce, factsOf, register, shadedId, spacingOf } from './loader.ts';
import { CT_PRESETS, type Window } from './presets.ts';

/** Memory for decoded frames, in bytes: a CT of 2,000 slices. */
const CACHE_BYTES = 1 << 30;
const ENGINE = 'prelim';

let engine: RenderingEngine | null = null;
let started: Promise<RenderingEngine> | null = null;

/** Whether this browser draws WebGL by software, which is slower than drawing on the processor without it. */
function isSoftware(): boolean {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (gl === null) return true;
  const told = gl.getExtension('WEBGL_debug_renderer_info');
  const name = told === null ? '' : String(gl.getParameter(told.UNMASKED_RENDERER_WEBGL));
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}

/** Starts Cornerstone once. `?rendering=cpu` or `gl` decides, else the browser's hardware. */
export function start(): Promise<RenderingEngine> {
  started ??= (async () => {
    const wanted = new URLSearchParams(location.search).get('rendering');
    init();
    setUseCPURendering(wanted === 'cpu' || (wanted !== 'gl' && isSoftware()));
    register();
    cache.setMaxCacheSize(CACHE_BYTES);
    engine = new RenderingEngine(ENGINE);
    return engine;
  })();
  return started;
}

let names = 0;

export class Pane {
  private readonly viewport: Types.IStackViewport;
  private readonly name: string;
  private frames: Frame[] = [];
  private shown = -1;
  private wanted = -1;
  /** The frame that was drawn last, or is being drawn, and where it is in the viewport's stack. */
  private drawing = -1;
  private place = -1;
  private window: Window | null = null;
  private inverted = false;
  private alive = true;

  private constructor(
    private readonly element: HTMLDivElement,
    private readonly rendering: RenderingEngine,
    private readonly kind: Stack['kind'],
    private readonly drawn: () => void,
  ) {
    this.name = `pane-${++names}`;
    rendering.enableElement({ viewportId: this.name, type: Enums.ViewportType.STACK, element, defaultOptions: { background: [0, 0, 0] } });
    this.viewport = rendering.getViewport(this.name) as Types.IStackViewport;
    // It is the page that handles keys and focus.
    element.removeAttribute('tabindex');
    element.addEventListener(Enums.Events.IMAGE_RENDERED, drawn);
  }

  static async attach(element: HTMLDivElement, kind: Stack['kind'], drawn: () => void): Promise<Pane> {
    return new Pane(element, await start(), kind, drawn);
  }

  close(): void {
    this.alive = false;
    release(this);
    this.element.removeEventListener(Enums.Events.IMAGE_RENDERED, this.drawn);
    this.rendering.disableElement(this.name);
  }

  /** Shows a stack at a place. Rejects where the frame cannot be had. */
  async open(frames: Frame[], index: number): Promise<void> {
    announce(frames);
    this.frames = frames;
    this.wanted = index;
    const frame = frames[index];
    if (frame === undefined) return;
    // Errors of the loader come as they are, and not as an event.
    await want(this, frame.id);
    if (!this.alive) return;
    this.drawing = index;
    this.place = this.placeOf(index);
    await this.viewport.setStack([...frames.map((each) => each.id), ...frames.map(shadedId)], this.place);
    if (!this.alive) return;
    this.shown = index;
    this.inverted = false;
    this.applyWindow();
    this.viewport.resetCamera();
    this.viewport.render();
    // It was turned on while the first image came.
    if (this.wanted !== index) await this.show(this.wanted);
  }

  /** Goes to a place in the stack; of several wishes only the newest counts. */
  async show(index: number): Promise<void> {
    this.wanted = index;
    const frame = this.frames[index];
    if (frame === undefined || this.shown < 0 || index === this.shown) return;
    try {
      await want(this, frame.id);
    } catch (error) {
      // It gave way to the next wish.
      if (!this.alive || this.wanted !== index) return;
      throw error;
    }
    if (!this.alive || this.wanted !== index) return;
    await this.draw(index);
  }

  /** A window in values after the rescale; nothing for that of the header. */
  setWindow(window: Window | null): void {
    this.window = window;
    if (this.shown >= 0) void this.draw(this.drawing);
  }

  invert(): void {
    if (this.shown < 0) return;
    this.inverted = !this.inverted;
    this.applyWindow();
    this.viewport.render();
  }

  /** Draws a frame that is here, by its values or in the shades of its header. */
  private async draw(index: number): Promise<void> {
    this.drawing = index;
    const place = this.placeOf(index);
    if (place !== this.place) {
      this.place = place;
      await this.viewport.setImageIdIndex(place);
      if (!this.alive || this.place !== place) return;
    }
    this.shown = index;
    this.applyWindow();
    this.viewport.render();
  }

  /** Where in the viewport's stack a frame is: the values of all frames come first, then their shades. */
  private placeOf(index: number): number {
    return this.isShaded(index) ? this.frames.length + index : index;
  }

  /** Whether a frame is drawn in shades that no window over its values has. */
  private isShaded(index: number): boolean {
    const frame = this.frames[index];
    return this.window === null && frame !== undefined && (factsOf(frame.id)?.shades ?? 0) > 0;
  }

  private applyWindow(): void {
    const facts = this.facts();
    const window = this.currentWindow();
    if (facts === undefined || window === null) return;
    const inverted = facts.inverted !== this.inverted;
    if (this.isShaded(this.shown)) {
      this.viewport.setProperties({ voiRange: { lower: 0, upper: 255 }, invert: inverted });
      return;
    }
    const { slope, intercept } = rescale(facts);
    const ends = endsOf(window).map((value) => (value - intercept) / slope);
    const [lower, upper] = [Math.min(...ends), Math.max(...ends)];
    // Where values fall as their meaning rises, and where the header's table falls, the largest is dark.
    const falls = (slope < 0) !== (this.window !== null && facts.window?.falls === true);
    this.viewport.setProperties({ voiRange: { lower, upper: Math.max(lower + 1e-3, upper) }, invert: inverted !== falls });
  }

  private facts(): FrameFacts | undefined {
    const frame = this.frames[this.shown];
    return frame === undefined ? undefined : factsOf(frame.id);
  }

  /** The window that is shown: the reader's, that of the header, for a CT without one the mediastinum, else all values. Colour has
   *  none. */
  currentWindow(): Window | null {
    const facts = this.facts();
    if (facts === undefined || facts.samples === 3) return null;
    if (this.window !== null) return this.window;
    if (facts.window !== null && facts.window.width > 0) return facts.window;
    if (this.kind === 'ct') return CT_PRESETS[1]!;
    const { slope, intercept } = rescale(facts);
    return { center: ((facts.smallest + facts.largest) / 2) * slope + intercept, width: Math.max(1, (facts.largest - facts.smallest) * Math.abs(slope)) };
  }

  /** Whether what is shown has the shades of a table in the header, which no center and width say. */
  get isByTable(): boolean {
    return this.shown >= 0 && this.isShaded(this.shown) && this.facts()?.window?.function === 'table';
  }

  /** A window from the values themselves: all but the darkest and brightest hundredth. Nothing in colour. */
  contrast(): Window | null {
    const facts = this.facts();
    const frame = this.frames[this.shown];
    const values = frame === undefined ? undefined : cache.getImage(frame.id)?.getPixelData();
    if (facts === undefined || facts.samples === 3 || values === undefined) return null;
    const sample = Float64Array.from({ length: Math.min(values.length, 40_000) }, (_, at) => values[Math.floor((at * values.length) / Math.min(values.length, 40_000))]!).sort();
    const [low, high] = [sample[Math.floor(sample.length * 0.01)] ?? 0, sample[Math.floor(sample.length * 0.99)] ?? 1];
    const { slope, intercept } = rescale(facts);
    return { center: ((low + high) / 2) * slope + intercept, width: Math.max(1, (high - low) * Math.abs(slope)) };
  }

  /** Magnifies about a point of the pane. */
  zoom(factor: number, at?: [number, number]): void {
    if (this.shown < 0) return;
    const before = at === undefined ? null : this.viewport.canvasToWorld(at);
    const zoom = Math.min(40, Math.max(0.2, this.viewport.getZoom() * factor));
    this.viewport.setZoom(zoom);
    if (at !== undefined && before !== null) {
      const now = this.viewport.worldToCanvas(before);
      this.pan(at[0] - now[0], at[1] - now[1]);
    }
    this.viewport.render();
  }

  pan(dx: number, dy: number): void {
    if (this.shown < 0) return;
    // By the camera: on the processor's path the viewport's own setPan takes pixels of the pane for places in the patient.
    const { focalPoint, position } = this.viewport.getCamera();
    if (focalPoint === undefined || position === undefined) return;
    const [from, to] = [this.viewport.canvasToWorld([0, 0]), this.viewport.canvasToWorld([dx, dy])];
    const moved = (place: Types.Point3): Types.Point3 => [place[0] - to[0] + from[0], place[1] - to[1] + from[1], place[2] - to[2] + from[2]];
    this.viewport.setCamera({ focalPoint: moved(focalPoint), position: moved(position) });
    this.viewport.render();
  }

  fit(): void {
    if (this.shown < 0) return;
    this.viewport.resetCamera();
    this.viewport.render();
  }

  resize(): void {
    if (this.shown < 0) return;
    this.rendering.resize(true, true);
  }

  get zoomFactor(): number {
    return this.shown < 0 ? 1 : this.viewport.getZoom();
  }

  get index(): number {
    return this.shown;
  }

  /** A point in pixels of the frame (its upper left corner is 0, 0) as a point of the pane. */
  toPane([x, y]: [number, number]): [number, number] | null {
    const frame = this.frames[this.shown];
    if (frame === undefined) return null;
    const [row, column] = spacingOf(frame);
    const [left, top] = this.viewport.worldToCanvas([(x - 0.5) * column, (y - 0.5) * row, 0]);
    return Number.isFinite(left) && Number.isFinite(top) ? [left, top] : null;
  }

  /** The reverse. */
  toPixel(at: [number, number]): [number, number] | null {
    const frame = this.frames[this.shown];
    if (frame === undefined) return null;
    const [row, column] = spacingOf(frame);
    const [x, y] = this.viewport.canvasToWorld(at);
    return [x / column + 0.5, y / row + 0.5];
  }

  /** The value at a pixel, after the rescale. */
  valueAt([x, y]: [number, number]): number | null {
    const frame = this.frames[this.shown];
    const facts = this.facts();
    if (frame === undefined || facts === undefined || facts.samples === 3) return null;
    const { columns, rows } = frame.instance;
    const [column, line] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || line < 0 || column >= columns || line >= rows) return null;
    const stored = cache.getImage(frame.id)?.getPixelData()[line * columns + column];
    const { slope, intercept } = rescale(facts);
    return stored === undefined ? null : stored * slope + intercept;
  }
}

function rescale({ slope, intercept }: FrameFacts): { slope: number; intercept: number } {
  return slope !== 0 && Number.isFinite(slope) && Number.isFinite(intercept) ? { slope, intercept } : { slope: 1, intercept: 0 };
}

/** From which value on it is not black any more, and from which on white (PS3.3 section C.11.2.1.2.1 for what headers call linear). */
function endsOf({ center, width, function: shape }: Window): [number, number] {
  const [middle, half] = shape === 'linear' ? [center - 0.5, (width - 1) / 2] : [center, width / 2];
  return [middle - half, middle + half];
}
