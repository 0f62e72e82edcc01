"""The page of API keys, and the page that tells what one's own key allows."""
