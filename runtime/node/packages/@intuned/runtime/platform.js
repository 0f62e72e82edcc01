'use strict';
/** Names that need Intuned's platform: they can be imported, and say so when they are called. */

class PlatformOnlyError extends Error {
  name = 'PlatformOnlyError';

  constructor(called) {
    super(
      `${called} needs a service of Intuned's platform, which Callboard does not have. ` +
        'Remove the call, or catch PlatformOnlyError of @intuned/runtime.',
    );
  }
}

/** Return an async function that rejects when it is called. */
function missing(name) {
  const named = {
    async [name]() {
      throw new PlatformOnlyError(`${name}()`);
    },
  };
  return named[name];
}

const getAiGatewayConfig = missing('getAiGatewayConfig');
const onCaptchaEvent = missing('onCaptchaEvent');
const onceCaptchaEvent = missing('onceCaptchaEvent');
const pauseCaptchaSolver = missing('pauseCaptchaSolver');
const resumeCaptchaSolver = missing('resumeCaptchaSolver');
const waitForCaptchaSolve = missing('waitForCaptchaSolve');
const withWaitForCaptchaSolve = missing('withWaitForCaptchaSolve');

// Each name stands here as it is, so that `import { … }` of a module that is not bundled finds it.
module.exports = {
  PlatformOnlyError,
  getAiGatewayConfig,
  onCaptchaEvent,
  onceCaptchaEvent,
  pauseCaptchaSolver,
  resumeCaptchaSolver,
  waitForCaptchaSolve,
  withWaitForCaptchaSolve,
};
