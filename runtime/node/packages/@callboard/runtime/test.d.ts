import type { BrowserContext, Page } from 'playwright';

/** What an API has returned, and left beside that. */
export interface ApiRun {
  /** Its result, as a caller of the REST API gets it. */
  result: any;
  /** What `extendPayload` was given. */
  extendedPayloads: { api: string; parameters: Record<string, any> }[];
  /** What `setAttribute` was given. */
  attributes: Record<string, any>;
}

/** How `runApi` calls an API. */
export interface RunApiOptions {
  /** What `requestInput` gives, by name. */
  answers?: Record<string, string>;
  /** Id of a login that `callboard run authsession create` has made. Its check is not called. */
  authSession?: string;
  /** Is called before the API, with its page: `context.route` can stand in for a site. */
  prepare?: (page: Page, context: BrowserContext) => unknown;
}

/**
 * Call an API of the project as an Attempt does, in a browser of its own. What it throws passes through.
 *
 * @param name Its name, such as `shop/list`. The working folder is that of the project.
 * @param parameters What it is called with.
 */
export function runApi(name: string, parameters?: unknown, options?: RunApiOptions): Promise<ApiRun>;
