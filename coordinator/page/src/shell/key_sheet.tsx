/** The sheet of keys: what can be pressed now. It lies beside the images, not over them. */

import { useEffect, useRef } from 'preact/hooks';
import { listed, shown, useKeys } from '../keys.ts';

export function KeySheet({ close }: { close: () => void }) {
  const sheet = useRef<HTMLElement>(null);
  useKeys([{ keys: ['Escape'], run: close }]);
  useEffect(() => sheet.current?.focus(), []);
  return (
    <aside class="key-sheet" aria-label="Keys" tabIndex={-1} ref={sheet}>
      <h2>Keys</h2>
      {[...listed()].toReversed().map(([group, bindings]) => (
        <section key={group}>
          <h3>{group}</h3>
          <dl>
            {bindings.map((binding) => (
              <div key={binding.words}>
                <dt>
                  {binding.keys.slice(0, 2).map((keys, index) => (
                    <span key={keys}>
                      {index > 0 && ' '}
                      <kbd>{shown(keys)}</kbd>
                    </span>
                  ))}
                </dt>
                <dd>{binding.words}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <button class="plain" onClick={close}>Close (Esc)</button>
    </aside>
  );
}
