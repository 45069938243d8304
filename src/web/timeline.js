// The cursor follows the video, and a click on the timeline seeks.
const video = () => document.querySelector('#prediction video');
setInterval(() => {
  const cursor = element.querySelector('.cursor'), shown = video();
  if (cursor && shown && shown.duration) cursor.style.left = 100 * shown.currentTime / shown.duration + '%';
}, 50);
element.addEventListener('click', event => {
  const track = element.querySelector('.track'), shown = video();
  if (!track || !shown || !shown.duration) return;
  const mark = event.target.closest('.mark'), box = track.getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  if (mark) shown.currentTime = parseFloat(mark.dataset.seconds) + 0.001;
  else if (share >= 0 && share <= 1) shown.currentTime = share * shown.duration;
});
