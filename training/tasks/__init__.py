"""Tasks with known answers, on which one sees what a recurrent network can and cannot learn."""
