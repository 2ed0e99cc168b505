// Draws the `mermaid` code blocks of the book. `./dev docs` copies mermaid.tiny.js into the folder of the book.
(() => {
  const blocks = document.querySelectorAll('code.language-mermaid')
  if (blocks.length === 0) return
  const page = document.documentElement
  const isDark = () => ['coal', 'navy', 'ayu'].some((theme) => page.classList.contains(theme))
  // A diagram that is narrower than this scrolls instead of shrinking further.
  const minWidth = 520
  const diagrams = [...blocks].map((block) => {
    const diagram = document.createElement('pre')
    diagram.className = 'mermaid'
    diagram.textContent = block.textContent
    block.parentElement.replaceWith(diagram)
    return { diagram, source: block.textContent }
  })
  const draw = async () => {
    for (const { diagram, source } of diagrams) {
      diagram.removeAttribute('data-processed')
      diagram.textContent = source
    }
    mermaid.initialize({ startOnLoad: false, securityLevel: 'strict', theme: isDark() ? 'dark' : 'neutral' })
    await mermaid.run({ nodes: diagrams.map(({ diagram }) => diagram) })
    for (const { diagram } of diagrams) {
      const { style } = diagram.querySelector('svg')
      style.minWidth = `${Math.min(parseFloat(style.maxWidth) || minWidth, minWidth)}px`
    }
  }
  const script = document.createElement('script')
  script.src = `${path_to_root}mermaid.tiny.js`
  script.onload = async () => {
    let wasDark = isDark()
    await draw()
    new MutationObserver(() => {
      if (isDark() === wasDark) return
      wasDark = isDark()
      draw()
    }).observe(page, { attributeFilter: ['class'] })
  }
  document.head.append(script)
})()
