export { goToUrl, resolveUrl } from './navigation.mjs';
export { waitForDomSettled, waitForNetworkSettled, withNetworkSettledWait } from './settle.mjs';
