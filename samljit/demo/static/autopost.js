// Runs before the page has loaded, so that the form takes this page's place and "back" does not lead here.
document.querySelector("form[data-autopost]").submit();
