"""The engine: networks, losses, tasks, interventions and the training of students; it knows no page of the book."""
