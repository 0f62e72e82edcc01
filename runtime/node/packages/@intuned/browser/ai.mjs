/** Names of helpers that ask a model: they can be imported, and say so when they are called. */

import { PlatformOnlyError } from '@intuned/runtime';

/** Rejects with PlatformOnlyError: there is no model here. */
export async function extractStructuredData() {
  throw new PlatformOnlyError('extractStructuredData(), which asks a model,');
}

/** Rejects with PlatformOnlyError: there is no model here. */
export async function isPageLoaded() {
  throw new PlatformOnlyError('isPageLoaded(), which shows a model a picture of the page,');
}
