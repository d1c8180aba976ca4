"""The book: claims, figures, pages, and the tools that build them."""
