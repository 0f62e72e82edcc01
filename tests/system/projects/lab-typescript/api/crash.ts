export default async function handler() {
  process.kill(process.pid, 'SIGKILL');
}
