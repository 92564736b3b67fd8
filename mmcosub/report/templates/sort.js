for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const up = head.getAttribute('aria-sort') !== 'ascending';
      heads.forEach((each) => each.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const rows = [...body.rows].map((row) => {
        const text = row.cells[column].textContent.trim().replace(/,/g, '');
        return { row, text, number: parseFloat(text), empty: text === '–' };
      });
      rows.sort((a, b) => {
        if (a.empty || b.empty) return a.empty - b.empty; // last either way
        const order = a.number - b.number || a.text.localeCompare(b.text, 'en', { numeric: true });
        return up ? order : -order;
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
}
