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
  return async () => {
    throw new PlatformOnlyError(`${name}()`);
  };
}

module.exports = {
  PlatformOnlyError,
  getAiGatewayConfig: missing('getAiGatewayConfig'),
  onCaptchaEvent: missing('onCaptchaEvent'),
  onceCaptchaEvent: missing('onceCaptchaEvent'),
  pauseCaptchaSolver: missing('pauseCaptchaSolver'),
  resumeCaptchaSolver: missing('resumeCaptchaSolver'),
  waitForCaptchaSolve: missing('waitForCaptchaSolve'),
  withWaitForCaptchaSolve: missing('withWaitForCaptchaSolve'),
};
