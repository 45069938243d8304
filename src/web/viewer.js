// Draws each video, of source and overlay side by side, split where the line stands; all videos follow the first.
const all = name => [...element.querySelectorAll(name)];
let split = 0.5, drawn = '';

const seek = time => all('video').forEach(video => {
  video.currentTime = Math.min(time, Math.max(0, (video.duration || 0) - 0.001));
});
const toggle = lead => all('video').forEach(video => {
  if (!lead.paused && !lead.ended) return video.pause();
  if (lead.ended) video.currentTime = 0;
  video.play();
});

const follow = (lead, video) => {
  const end = video.duration || 0, gap = video.currentTime - lead.currentTime;
  const beyond = lead.currentTime >= end;
  if (lead.paused !== video.paused && !(beyond && video.ended)) lead.paused || beyond ? video.pause() : video.play();
  if (!video.seeking && !beyond && Math.abs(gap) > (lead.paused ? 0.01 : 0.1)) video.currentTime = lead.currentTime;
};

const draw = (canvas, video) => {
  const width = Math.floor(video.videoWidth / 2), height = video.videoHeight;
  if (canvas.width !== width || canvas.height !== height) {
    [canvas.width, canvas.height] = [width, height];
    canvas.parentElement.style.maxWidth = `calc(75vh * ${width / height})`;
  }
  const context = canvas.getContext('2d'), left = Math.round(split * width), right = width - left;
  if (left) context.drawImage(video, 0, 0, left, height, 0, 0, left, height);
  if (right) context.drawImage(video, width + left, 0, right, height, left, 0, right, height);
};

const step = () => {
  requestAnimationFrame(step);
  const videos = all('video'), [lead, ...others] = videos;
  if (!lead || videos.some(video => video.readyState < 2)) return;
  others.forEach(video => follow(lead, video));
  const now = [split, ...videos.map(video => video.src + video.currentTime)].join();
  const button = element.querySelector('.play'), word = lead.paused || lead.ended ? 'Play' : 'Pause';
  if (button.textContent !== word) button.textContent = word;
  if (now === drawn) return;
  drawn = now;
  all('canvas').forEach((canvas, number) => draw(canvas, videos[number]));
  all('.seek').forEach(slider => { slider.value = lead.currentTime; });
  all('.split').forEach(slider => { slider.value = split; });
  element.querySelector('.time').textContent = `${lead.currentTime.toFixed(1)} / ${lead.duration.toFixed(1)} s`;
};
step();

element.addEventListener('input', event => {
  if (event.target.matches('.split')) split = Number(event.target.value);
  if (event.target.matches('.seek')) seek(Number(event.target.value));
});
element.addEventListener('click', event => {
  const mark = event.target.closest('.mark');
  if (mark) seek(Number(mark.dataset.seconds) + 0.001);
  if (event.target.closest('.play')) toggle(element.querySelector('video'));
});

// Tooltips of the choices, also of lists that open later.
const explain = () => document.querySelectorAll('label, [role=option]').forEach(choice => {
  const text = props.tips[choice.textContent.replace('✓', '').trim()];
  if (text && choice.title !== text) choice.title = text;
});
new MutationObserver(explain).observe(document.body, {childList: true, subtree: true});
explain();
