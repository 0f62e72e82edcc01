export default async function handler() {
  return 'fine';
}
