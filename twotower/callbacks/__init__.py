"""What a run does besides training, as Lightning callbacks: evaluate, watch its health, checkpoint, record, export."""
