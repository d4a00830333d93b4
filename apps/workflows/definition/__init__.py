"""What a workflow definition says: reading it, checking it, drawing it. Pure: plain values in, plain values out."""
