import { render } from 'preact';
import { App } from './shell/app.tsx';
import './styles/theme.css';
import './styles/shell.css';
import './styles/worklist.css';
import './styles/study.css';
import './styles/viewer.css';
import './styles/ask.css';
import './styles/agreement.css';
import './styles/print.css';

render(<App />, document.getElementById('page')!);
