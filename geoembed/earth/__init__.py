"""A simulated Earth: hidden landscapes, and what Sentinel-2 and Sentinel-1 would see of them.

Numpy and scipy only, no files. `places` says where and under what climate, `landscape.build` makes the hidden ground,
`optics.observe` and `radar.amplitude`, `radar.coherence` look at it. Row 0 is north, column 0 is west, a pixel is 10 m.
"""
