'use strict';
/** `callboard venv` puts a file with `runApi` in the place of this one. */

throw new Error(
  'runApi calls an API by an installation of Callboard, and there is none in this node_modules. Install Callboard, and ' +
    'execute `callboard venv` in the folder of the project.',
);
